// Asks for the board anew and replaces what changed; the timer's end is kept, so that it survives a reload.
const element = (id) => document.getElementById(id);
let shown = "";

async function look() {
  try {
    const headers = { "X-XSRFToken": document.documentElement.dataset.xsrf };
    const answer = await fetch("board", { cache: "no-store", redirect: "manual", headers });
    if (answer.type === "opaqueredirect") throw new Error("reload this page to sign in again");
    if (!answer.ok) throw new Error(answer.status === 403 ? "you may not look" : `status ${answer.status}`);
    const board = await answer.text();
    if (board !== shown) {
      element("board").innerHTML = shown = board;
      const news = element("asking").textContent;
      if (element("news").textContent !== news) element("news").textContent = news;
    }
    element("when").textContent = `as of ${new Date().toLocaleTimeString()}`;
  } catch (error) {
    element("when").textContent = `no answer (${error.message}), trying again`;
  }
  setTimeout(look, 2000);
}

function tick() {
  const seconds = Math.round((Number(localStorage.getItem("timer")) - Date.now()) / 1000);
  const over = seconds > -3600 ? "time is over" : "";
  element("left").textContent = seconds > 0 ? `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : over;
}

element("timer").addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem("timer", Date.now() + element("minutes").value * 60000);
  tick();
});
tick();
setInterval(tick, 1000);
look();

// The theme puts wide tables into boxes that scroll. A keyboard scrolls only what can have the focus.
new MutationObserver(() => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) box.tabIndex = 0
}).observe(document.body, { childList: true, subtree: true })

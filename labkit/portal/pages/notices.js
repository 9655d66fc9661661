'use strict';

// Writes dist/third-party-notices.txt: the licences of all packages of which something is in the built pages, as their source maps tell.
// The maps are removed afterwards; they are twice as large as the pages.

const fs = require('node:fs');
const path = require('node:path');

const maps = fs.globSync('dist/static/*.map');
const folders = new Set();
for (const map of maps) {
    for (const source of JSON.parse(fs.readFileSync(map, 'utf8')).sources) {
        const [found] = /node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(source) ?? [];
        if (found && fs.existsSync(path.join(found, 'package.json'))) folders.add(found);
    }
    fs.rmSync(map);
}

const notices = [...folders].sort().map((folder) => {
    const { name, version, license, repository } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const texts = fs
        .readdirSync(folder)
        .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
        .map((file) => fs.readFileSync(path.join(folder, file), 'utf8').trim());
    const from = repository?.url ?? repository ?? '';
    return [`${name} ${version}`, `Licence: ${license?.type ?? license ?? 'see below'}`, from && `From: ${from}`, ...texts].filter(Boolean).join('\n\n');
});

fs.writeFileSync('dist/third-party-notices.txt', `${notices.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
console.log(`${notices.length} packages in dist/third-party-notices.txt`);

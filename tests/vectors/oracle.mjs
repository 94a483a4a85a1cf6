// Checks the conformance vectors independently: recomputes every reply from the
// steps, by SPEC.md sections 3 and 4 alone. It shares no code with this project's
// other programs, so that a mistake in them does not become an expectation.
//
//     node oracle.mjs [FILE]        (by default the upcase.json beside it)
//
// Prints a line for each disagreement, and then the counts. The exit status is 1 if
// there is a disagreement.

import { readFileSync } from "node:fs";

const [LIMIT, LF] = [1024, 0x0a];
const WHITE_SPACE = [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20];

// Table 3-7 of the Unicode Standard: a row has the range of each byte of a well-formed character.
const C = [0x80, 0xbf];
const TABLE = [
  [[0x00, 0x7f]],
  [[0xc2, 0xdf], C],
  [[0xe0, 0xe0], [0xa0, 0xbf], C],
  [[0xe1, 0xec], C, C],
  [[0xed, 0xed], [0x80, 0x9f], C],
  [[0xee, 0xef], C, C],
  [[0xf0, 0xf0], [0x90, 0xbf], C, C],
  [[0xf1, 0xf3], C, C, C],
  [[0xf4, 0xf4], [0x80, 0x8f], C, C],
];
const within = (byte, range) => byte >= range[0] && byte <= range[1];

// Splits bytes into well-formed characters (strings) and single other bytes (numbers).
function decode(bytes) {
  const units = [];
  for (let i = 0; i < bytes.length; ) {
    // A byte past the end is undefined, so it is within no range.
    const row = TABLE.find((ranges) => ranges.every((range, k) => within(bytes[i + k], range)));
    const n = row ? row.length : 1;
    const [lead, ...rest] = bytes.slice(i, i + n);
    // The first byte of n > 1 begins with n + 1 fixed bits. Each other byte holds six bits of the code point.
    const code = rest.reduce((high, low) => high * 64 + (low & 0x3f), n > 1 ? lead & (0xff >> (n + 1)) : lead);
    units.push(row ? String.fromCodePoint(code) : lead);
    i += n;
  }
  return units;
}

function cap(bytes) {
  if (bytes.length < LIMIT) return bytes;
  const kept = bytes.slice(0, LIMIT);
  const isPrefix = (tail) => TABLE.some((row) => row.length > tail.length && tail.every((byte, k) => within(byte, row[k])));
  const stump = [1, 2, 3].find((n) => isPrefix(kept.slice(-n))) ?? 0;
  return kept.slice(0, LIMIT - stump);
}

function trim(bytes) {
  const isText = (byte) => !WHITE_SPACE.includes(byte);
  const first = bytes.findIndex(isText);
  return first < 0 ? [] : bytes.slice(first, bytes.findLastIndex(isText) + 1);
}

// One character at a time, so that the characters around it have no effect (UPPER-3).
const upper = (bytes) =>
  decode(bytes).flatMap((unit) => (typeof unit === "number" ? [unit] : [...Buffer.from(unit.toUpperCase())]));

// The function `process` of SPEC.md. Node.js uses that name itself.
const respond = (request) => trim(cap(upper(trim(cap(request)))));

// Returns the request of a stream, or null while it is incomplete.
function frame(stream, ended) {
  const lf = stream.indexOf(LF);
  if (lf >= 0 && lf < LIMIT) return stream.slice(0, lf + 1);
  if (stream.length >= LIMIT) return stream.slice(0, LIMIT);
  return ended ? stream : null;
}

const fromHex = (hex) => [...Buffer.from(hex, "hex")];
const toHex = (bytes) => Buffer.from(bytes).toString("hex");
const sent = (step) => (step.send ?? step.send_each_byte ?? "").repeat(step.times ?? 1);
// A text is in hex, or it is runs of [hex, times].
const text = (form) => (typeof form === "string" ? form : form.map(([hex, n]) => hex.repeat(n)).join(""));

// Yields every character of the ranges.
function* characters(ranges) {
  for (const [first, last] of ranges.map((range) => range.map((hex) => Number.parseInt(hex, 16))))
    for (let code = first; code <= last; code += 1) yield String.fromCodePoint(code);
}

// Yields every exchange of a step on other connections. A character that must not change is an exchange of
// its own here: how they are joined to lines has no effect on their mapping (UPPER-3).
function* otherExchanges({ send, reply, at_once, unchanged }) {
  const pairs = at_once ?? (reply === undefined ? [] : [[send, reply]]);
  for (const [request, reply] of pairs)
    yield { request: frame(fromHex(text(request)), false), reply: text(reply), end: "fin" };
  for (const bytes of [...characters(unchanged ?? [])].map((character) => Buffer.from(character)))
    yield { request: [...bytes, LF], reply: toHex(bytes), end: "fin" };
}

// Yields every exchange of a vector: its own, and those on other connections.
function* exchanges(vector) {
  const stream = fromHex(vector.steps.map(sent).join(""));
  const request = frame(stream, vector.steps.some((step) => step.half_close));
  yield { request, reply: text(vector.expect.reply), end: vector.expect.end };
  for (const { other } of vector.steps.filter((step) => step.other)) yield* otherExchanges(other);
}

const suite = JSON.parse(readFileSync(process.argv[2] ?? new URL("upcase.json", import.meta.url), "utf8"));
const older = Number.parseFloat(process.versions.unicode) < Number.parseFloat(suite.unicode);
// An older Unicode does not know every character. The reply is searched too, because a new capital can be
// the mapping of an old small letter. (In the joined string, other bytes are decimal digits.)
const isUnknown = ({ request, reply }) => /\p{Cn}/u.test(decode([...(request ?? []), ...fromHex(reply)]).join(""));

const [disagreeing, unjudged] = [new Set(), new Set()];
for (const vector of suite.vectors) {
  for (const exchange of exchanges(vector)) {
    const { request, reply, end } = exchange;
    if (older && isUnknown(exchange)) {
      unjudged.add(vector.id);
      continue;
    }
    // What follows the reply is the vector's to choose.
    const ends = request ? ["fin", "gone", "either"] : ["closed"];
    const wanted = request ? toHex(respond(request)) : "";
    if (wanted === reply && ends.includes(end)) continue;
    disagreeing.add(vector.id);
    console.log(`${vector.id}: stated "${reply}" ${end}, recomputed "${wanted}" ${ends.join(" or ")}`);
  }
}
if (unjudged.size > 0)
  console.log(`not judged in full, because this is Unicode ${process.versions.unicode}: ${[...unjudged].join(" ")}`);
const agree = suite.vectors.filter(({ id }) => !disagreeing.has(id) && !unjudged.has(id)).length;
console.log(`${agree} agree, ${disagreeing.size} disagree, ${unjudged.size} not judged in full`);
process.exitCode = disagreeing.size > 0 ? 1 : 0;

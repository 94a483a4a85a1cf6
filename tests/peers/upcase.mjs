// An UPCASE server on one thread (SPEC.md, sections 3 and 4): upcase.mjs [[HOST:]PORT [SECONDS]]
// Every byte string is a string of the characters U+0000 to U+00FF ("latin1").
import { realpathSync } from "node:fs";
import { createServer } from "node:net";
import { argv, versions } from "node:process";
import { fileURLToPath } from "node:url";

if (!(parseFloat(versions.unicode) <= 17)) throw new Error("not Unicode 17 or older"); // UPPER-2
export const LIMIT = 1024;
const TAIL = "[\x80-\xbf]";
const CHARACTER = new RegExp([ // a well-formed character: the rows of Table 3-7
  "[\0-\x7f]", `[\xc2-\xdf]${TAIL}`, `\xe0[\xa0-\xbf]${TAIL}`, `[\xe1-\xec]${TAIL}{2}`,
  `\xed[\x80-\x9f]${TAIL}`, `[\xee-\xef]${TAIL}{2}`, `\xf0[\x90-\xbf]${TAIL}{2}`,
  `[\xf1-\xf3]${TAIL}{3}`, `\xf4[\x80-\x8f]${TAIL}{2}`].join("|"), "g");
const ONE = new RegExp(`^(?:${CHARACTER.source})$`);
const ENDINGS = ["\x80", "\xbf"].flatMap((tail) => [tail, tail.repeat(2), tail.repeat(3)]);
const GAINED = new Map([ // UPPER-2: new since Unicode 14, of the first Node.js 18
  [0x19b, 0xa7dc, 1], [0x264, 0xa7cb, 1], [0x1c8a, 0x1c89, 1], [0xa7cd, 0xa7cc, 1],
  [0xa7cf, 0xa7ce, 1], [0xa7d3, 0xa7d2, 1], [0xa7d5, 0xa7d4, 1], [0xa7db, 0xa7da, 1],
  [0x10d70, 0x10d50, 22], [0x16ebb, 0x16ea0, 25],
].flatMap(([lower, upper, count]) => Array.from({ length: count },
  (_, i) => [String.fromCodePoint(lower + i), String.fromCodePoint(upper + i)])));

// CAP-2, CAP-3: whether one to three bytes 80, or one to three bytes BF, complete a character
const isPrefix = (end) => ENDINGS.some((ending) => ONE.test(end + ending));
const cap = (bytes) => {
  if (bytes.length < LIMIT) return bytes; // CAP-1
  const cut = [1, 2, 3].find((n) => isPrefix(bytes.slice(LIMIT - n, LIMIT))) ?? 0;
  return bytes.slice(0, LIMIT - cut);
};
export const trim = (text) => text.replace(/^[\t\n\v\f\r ]+|[\t\n\v\f\r ]+$/g, ""); // TRIM-1, TRIM-2
export const upper = (bytes) => bytes.replace(CHARACTER, (one) => { // UPPER-4: other bytes stay
  const character = Buffer.from(one, "latin1").toString("utf8");
  return Buffer.from(GAINED.get(character) ?? character.toUpperCase()).toString("latin1");
});
export const process = (request) => trim(cap(upper(trim(cap(request))))); // PROC-1

const serve = (socket, seconds) => {
  const deadline = setTimeout(() => socket.destroy(), seconds * 1000); // TIME-1, TIME-2
  let request = "";
  const reply = () => {
    if (!socket.writableEnded) socket.end(process(request), "latin1"); // REPLY-2, REPLY-3
  };
  socket.setEncoding("latin1").on("data", (bytes) => { // SURPLUS-2: also after the reply
    if (socket.writableEnded) return; // SURPLUS-1
    request = (request + bytes).slice(0, LIMIT);
    request = request.slice(0, request.indexOf("\n") + 1) || request; // FRAME-1
    if (request.endsWith("\n") || request.length === LIMIT) reply(); // FRAME-2
  }).on("end", reply); // FRAME-3
  socket.on("error", () => {}).on("close", () => clearTimeout(deadline)); // TIME-4
};
if (argv[1] && realpathSync(argv[1]) === fileURLToPath(import.meta.url)) {
  const [, host, port] = /^(?:(.*):)?(\d+)$/.exec(argv[2] ?? "0");
  const server = createServer({ allowHalfOpen: true }, (socket) => serve(socket, argv[3] ?? 5));
  server.listen({ host: host ?? "127.0.0.1", port, backlog: 1024 }, () => {
    server.on("error", () => {}); // TIME-4: such as a failed accept
    console.log(`Servidor rodando em ${server.address().address}:${server.address().port}`);
  });
}

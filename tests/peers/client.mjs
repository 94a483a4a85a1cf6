// An UPCASE client (SPEC.md, section 5): client.mjs HOST PORT [SECONDS]
// The message comes from standard input, and the reply goes to standard output.
import { lookup } from "node:dns/promises";
import { writeSync } from "node:fs";
import { connect } from "node:net";
import { argv, exit, stdin, stdout } from "node:process";
import { buffer } from "node:stream/consumers";
import { LIMIT, process, trim, upper } from "./upcase.mjs";

const check = (message) => {
  if (message.includes("\n") || message.length >= LIMIT) { // CLIENT-1
    throw new Error("a message has no line feed and at most 1023 bytes");
  }
  if (process(message) !== upper(trim(message))) { // CLIENT-2
    throw new Error("the end of the message in upper case would be lost");
  }
};

const open = (host, port, timeout) => new Promise((resolve, reject) => {
  const socket = connect({ host, port, timeout, allowHalfOpen: true });
  socket.on("timeout", () => socket.destroy(new Error(`no answer from ${host}`)));
  socket.on("connect", () => resolve(socket.setTimeout(0))).on("error", reject);
});

const openFirst = async (host, port, deadline) => {
  const addresses = await lookup(host, { all: true, verbatim: true });
  for (const [tried, { address }] of addresses.entries()) {
    const left = addresses.length - tried;
    const share = Math.max(1, deadline - Date.now()) / left; // CLIENT-8
    try { return await open(address, port, share); } catch (error) { if (left === 1) throw error; }
  }
};

const exchange = (socket, message) => new Promise((resolve, reject) => {
  let reply = "";
  socket.setEncoding("latin1").on("error", reject).on("data", (bytes) => {
    reply += bytes;
    if (reply.length > LIMIT) reject(new Error("the reply has more than 1024 bytes")); // CLIENT-4
  }).on("end", () => { // CLIENT-3
    if (!reply && trim(message)) reject(new Error("no reply")); // CLIENT-6
    // CLIENT-5: Node.js may take a reset for an end. After a reset, even an empty write fails.
    socket.write("", (error) => (error ? reject(error) : resolve(reply)));
  });
  socket.write(`${message}\n`, "latin1"); // CLIENT-1, CLIENT-9
});

const fail = (reason) => exit(writeSync(2, `client.mjs: ${reason}\n`) && 1);
const [host, port, seconds = 10] = argv.slice(2);
const message = (await buffer(stdin)).toString("latin1");
try {
  check(message);
  setTimeout(fail, seconds * 1000, "timed out").unref(); // CLIENT-8: for all steps
  const socket = await openFirst(host, port, Date.now() + seconds * 1000);
  const reply = await exchange(socket, message);
  socket.destroy(); // CLIENT-9
  stdout.write(reply, "latin1"); // CLIENT-10
} catch (error) {
  fail(error.message);
}

// One thread, with Node's net. It asks the stream for its bytes, and sends the reply with the end.
import { createServer } from "node:net";
import { process as transform } from "../peers/upcase.mjs";

const LIMIT = 1024;
const DEADLINE = 5000; // milliseconds

const requestIn = (bytes, isEnded) => {
  const head = bytes.slice(0, LIMIT);
  const line = head.indexOf("\n") + 1;
  if (line) return head.slice(0, line);
  return isEnded || head.length === LIMIT ? head : null;
};
const serve = (socket) => {
  const deadline = setTimeout(() => socket.destroy(), DEADLINE);
  let bytes = "", isReplied = false;
  const look = (isEnded) => {
    const request = isReplied ? null : requestIn(bytes, isEnded);
    if (request === null) return;
    isReplied = true;
    socket.end(transform(request), "latin1");
  };
  socket.setEncoding("latin1").on("readable", () => {
    for (let chunk; (chunk = socket.read()) !== null;) {
      if (!isReplied) bytes += chunk;
    }
    look(false);
  }).on("end", () => look(true));
  socket.on("error", () => {}).on("close", () => clearTimeout(deadline));
};
const server = createServer({ allowHalfOpen: true }, serve);
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  console.log(`Servidor rodando em 127.0.0.1:${server.address().port}`);
});

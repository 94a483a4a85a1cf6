// One thread, on the events of Node's net, with the end of the stream in the same call as the reply.
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
const serve = async (socket) => {
  const deadline = setTimeout(() => socket.destroy(), DEADLINE);
  let bytes = "", isReplied = false;
  const look = (isEnded) => {
    const request = isReplied ? null : requestIn(bytes, isEnded);
    if (request === null) return;
    isReplied = true;
    socket.end(transform(request), "latin1");
  };
  try {
    for await (const chunk of socket) { // leaves the socket open at the client's end
      if (!isReplied) bytes += chunk.toString("latin1");
      look(false);
    }
    look(true);
  } catch { /* an error affects this client alone */ } finally {
    clearTimeout(deadline);
  }
};
const server = createServer({ allowHalfOpen: true }, serve);
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  console.log(`Servidor rodando em 127.0.0.1:${server.address().port}`);
});

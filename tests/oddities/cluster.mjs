// Two processes, each with one thread, by Node's cluster. One of them accepts for both.
import cluster from "node:cluster";

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
} else {
  await import("./net.mjs");
}

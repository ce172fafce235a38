// Asks with fetch, which is undici, or with node's http: `node ask.mjs fetch|http BASE MANIFEST ANSWERS`.

import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";

const [library, base, manifest, answers] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

async function fetched(method, url, file, streamed, headers) {
  const body = file ? (streamed ? createReadStream(file) : readFileSync(file)) : undefined;
  const reply = await fetch(url, { method, headers, body, ...(streamed ? { duplex: "half" } : {}) });
  return [reply.status, Buffer.from(await reply.arrayBuffer())];
}

function asked(method, url, file, streamed, headers) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent }, (reply) => {
      const parts = [];
      reply.on("data", (part) => parts.push(part));
      reply.on("end", () => resolve([reply.statusCode, Buffer.concat(parts)]));
    });
    request.on("error", reject);
    if (file && streamed) createReadStream(file).pipe(request);
    else request.end(file ? readFileSync(file) : undefined);
  });
}

for (const line of readFileSync(manifest, "utf8").split("\n").filter(Boolean)) {
  const [name, method, place, file, how, ...told] = line.split("\t");
  const headers = Object.fromEntries(told.map((header) => header.split(": ")));
  const ask = library === "fetch" ? fetched : asked;
  const [status, body] = await ask(method, base + place, file, how === "chunked", headers);
  writeFileSync(path.join(answers, name), body);
  console.log(`${name}\t${status}`);
}
agent.destroy();

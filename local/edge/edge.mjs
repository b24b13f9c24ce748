// Stands in for CloudFront: picks a cache behavior by its path, runs the behavior's function, and passes on.
//
//   node edge.mjs --port 8080 --distribution '{"behaviors": [{"path", "origin", "code"}], "origins": {"<id>": "http://…"}}'
//
// The first behavior whose path pattern fits counts; the last one, without a pattern, takes what is left. Nothing is
// cached, and Host is the origin's: as the policies of the distribution have it. The function sees the event that
// CloudFront Functions see (runtime 2.0), as far as it is about the request.
import http from "node:http";
import net from "node:net";
import { parseArgs } from "node:util";
import vm from "node:vm";

const { values: options } = parseArgs({ options: { port: { type: "string" }, distribution: { type: "string" } } });
const { behaviors, origins } = JSON.parse(options.distribution);
const HEALTH = "/_local/health";
// Of these functions learn nothing (AWS, restrictions on all edge functions).
const HIDDEN = /^(connection|expect|keep-alive|proxy-.*|te|trailer|upgrade|x-accel-.*|x-edge-.*)$/;

for (const behavior of behaviors) {
  const pattern = (behavior.path ?? "*").replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
  behavior.fits = new RegExp(`^${pattern}$`);
  behavior.origin = new URL(origins[behavior.origin]);
  if (behavior.code) {
    const context = vm.createContext({});
    vm.runInContext(behavior.code, context);
    behavior.handler = context.handler;
  }
}

/** Where the request goes: {origin, path}, or {response} when the function answers itself. */
function route(request) {
  const [uri, query = ""] = request.url.split(/\?(.*)/s);
  const behavior = behaviors.find((each) => each.fits.test(uri));
  let passed = { uri, querystring: parsed(query) };
  if (behavior.handler) {
    const shown = Object.entries(request.headers).filter(([name]) => !HIDDEN.test(name));
    const headers = Object.fromEntries(shown.map(([name, value]) => [name, { value }]));
    const answer = behavior.handler({
      version: "1.0",
      context: { eventType: "viewer-request" },
      viewer: { ip: request.socket.remoteAddress },
      request: { ...passed, method: request.method, headers, cookies: {} },
    });
    if (answer.statusCode) return { response: answer };
    passed = answer;
  }
  const search = written(passed.querystring);
  const path = behavior.origin.pathname.replace(/\/$/, "") + passed.uri + (search && `?${search}`);
  return { origin: behavior.origin, path };
}

function parsed(query) {
  const found = {};
  for (const pair of query.split("&").filter(Boolean)) {
    const [name, value = ""] = pair.split(/=(.*)/s);
    if (found[name]) (found[name].multiValue ??= [{ value: found[name].value }]).push({ value });
    else found[name] = { value };
  }
  return found;
}

function written(query) {
  const each = Object.entries(query).flatMap(([name, { value, multiValue }]) => (multiValue ?? [{ value }]).map((one) => [name, one.value]));
  return each.map(([name, value]) => `${name}=${value}`).join("&");
}

function forwarded(request, origin) {
  return { ...request.headers, host: origin.host };
}

const server = http.createServer((request, response) => {
  if (request.url === HEALTH) return response.end("{}");
  const { response: own, origin, path } = route(request);
  if (own) return response.writeHead(own.statusCode).end(own.body?.data ?? "");
  const asked = http.request(origin, { path, method: request.method, headers: forwarded(request, origin) }, (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    answer.pipe(response);
  });
  asked.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  response.on("close", () => asked.destroy());
  request.pipe(asked);
});

server.on("upgrade", (request, socket, head) => {
  socket.on("error", () => socket.destroy());
  const { response: own, origin, path } = route(request);
  if (own) return socket.end(`HTTP/1.1 ${own.statusCode} ${http.STATUS_CODES[own.statusCode]}\r\nconnection: close\r\n\r\n`);
  const upstream = net.connect(Number(origin.port), origin.hostname, () => {
    const headers = Object.entries(forwarded(request, origin)).map(([name, value]) => `${name}: ${value}\r\n`);
    upstream.write(`GET ${path} HTTP/1.1\r\n${headers.join("")}\r\n`);
    upstream.write(head);
    upstream.pipe(socket).pipe(upstream);
  });
  upstream.setNoDelay(true);
  socket.setNoDelay(true);
  for (const [one, other] of [[socket, upstream], [upstream, socket]]) one.on("close", () => other.destroy());
  upstream.on("error", () => socket.destroy());
});

server.requestTimeout = 0;
server.listen(Number(options.port), "127.0.0.1");
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));

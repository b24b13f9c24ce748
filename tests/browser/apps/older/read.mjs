// What the older generation's AI SDK makes of an answer: it refuses a chunk that has one key too many, and with it the
// answer. Takes {name: [chunk, …]} and prints {name: {refused: [chunk, …], parts: [part, …]}}, as JSON.
import { text } from "node:stream/consumers";
import { readUIMessageStream, uiMessageChunkSchema } from "ai";

const { validate } = uiMessageChunkSchema();

async function read(chunks) {
  const refused = [];
  for (const chunk of chunks) {
    if (!(await validate(chunk)).success) refused.push(chunk);
  }
  const parts = [];
  if (refused.length === 0) {
    for await (const message of readUIMessageStream({ stream: ReadableStream.from(chunks) })) {
      parts.splice(0, parts.length, ...message.parts);
    }
  }
  return { refused, parts };
}

const answers = {};
for (const [name, chunks] of Object.entries(JSON.parse(await text(process.stdin)))) answers[name] = await read(chunks);
console.log(JSON.stringify(answers));

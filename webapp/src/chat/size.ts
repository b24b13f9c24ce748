/** The backend takes messages up to 24 KB; what is around the text needs a little of it. */
const MESSAGE_BYTES = 23_000;
/** A frame may have 32 KB, in which the text is escaped twice; what is around it needs a little of it, too. */
const FRAME_BYTES = 31_000;

/** By how many bytes a message is too long; not positive: it is not. */
export function excessOf(text: string): number {
  const escaped = JSON.stringify(JSON.stringify(text));
  return Math.max(bytesOf(text) - MESSAGE_BYTES, bytesOf(escaped) - FRAME_BYTES);
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** A request that failed, in words for the person in front of the page. */
export class RequestError extends Error {
  override name = "RequestError";

  constructor(
    message: string,
    /** The backend's code for it, or null when none came. */
    readonly code: string | null = null,
    /** After how many seconds it may be worth another try, if the backend said so. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** Nobody answered, or only what stands before the server: it says nothing about the request. */
export class UnreachableError extends RequestError {
  override name = "UnreachableError";
}

/** Whatever was thrown, in words. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const TIMEOUT_MS = 15_000;

const BY_STATUS: Record<number, string> = {
  401: "Your session has ended. Reload the page to start a new one.",
  403: "This thread belongs to somebody else.",
  404: "There is nothing at this address.",
  429: "That was a lot at once. Wait a moment, then try again.",
};

/**
 * Fetches JSON, waiting at most *timeoutMs*.
 *
 * @throws RequestError when the server cannot be reached, refuses, or answers something else.
 */
export async function fetchJson(url: string, init: RequestInit = {}, timeoutMs = TIMEOUT_MS): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) });
  } catch {
    throw new UnreachableError("The server cannot be reached.");
  }
  if (!response.ok) throw await refusal(response);
  try {
    return await response.json();
  } catch {
    throw new RequestError("The server gave an answer that makes no sense.");
  }
}

/** The backend's own sentence where there is one for people; `{"ok": false, "code", "message"}` is its shape. */
async function refusal(response: Response): Promise<RequestError> {
  const known = BY_STATUS[response.status];
  const body = (await response.json().catch(() => null)) as { code?: unknown; message?: unknown } | null;
  const code = typeof body?.code === "string" ? body.code : null;
  const said = code !== null && typeof body?.message === "string" ? body.message : null;
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const sentence = known ?? said ?? "The server has a problem. Try again in a moment.";
  if (response.status >= 500 && code === null) return new UnreachableError(sentence);
  return new RequestError(sentence, code, Number.isNaN(after) ? null : after);
}

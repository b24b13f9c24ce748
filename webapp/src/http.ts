/** A request that failed, in words for the person in front of the page. */
export class RequestError extends Error {
  override name = "RequestError";
}

const TIMEOUT_MS = 15_000;

const BY_STATUS: Record<number, string> = {
  401: "Your session has ended. Reload the page to start a new one.",
  403: "This thread belongs to somebody else.",
  404: "There is nothing at this address.",
  429: "That was a lot at once. Wait a moment, then try again.",
};

/**
 * Fetches JSON, waiting at most 15 s.
 *
 * @throws RequestError when the server cannot be reached, refuses, or answers something else.
 */
export async function fetchJson(url: string, init: RequestInit = {}): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new RequestError("The server cannot be reached.");
  }
  if (!response.ok)
    throw new RequestError(BY_STATUS[response.status] ?? "The server has a problem. Try again in a moment.");
  try {
    return await response.json();
  } catch {
    throw new RequestError("The server gave an answer that makes no sense.");
  }
}

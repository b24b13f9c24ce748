import type { z } from "zod";
import { RequestError } from "../http";
import { type Attempt, BROWSER, DEVICE, End, type Method, type Told } from "./attempt";
import type { Calls } from "./calls";
import { type ProviderAnswer, remember } from "./returned";
import { FOREIGN, type Outcome, ofEnd, ofError } from "./words";

/** Where the sign-in of a thread stands, as far as this page is concerned. */
export type Stage =
  | { at: "rest" }
  /** It is being begun; `ending`: an earlier one has to be ended first. */
  | { at: "beginning"; method: Method; ending: boolean }
  /** `answered`: the provider's answer has been handed on. */
  | { at: "waiting"; attempt: Attempt; answered: boolean }
  | { at: "connected"; account: string | null }
  | { at: "over"; method: Method; outcome: Outcome };

/** A sandbox that starts, and an earlier sign-in that is being ended, are waited for so long. */
const PATIENCE_MS = 180_000;
const PAUSE_S = 3;

/** The sign-in of one thread. What happens to it elsewhere is told to it, or found by looking. */
export class Signin {
  #stage: Stage = { at: "rest" };
  readonly #watchers = new Set<() => void>();
  /** The attempts whose end is known: what is heard of them later is of before. */
  readonly #ended = new Set<string>();
  /** Of several begins only the last one counts. */
  #begins = 0;
  /** The begin that was called off while it was under way. */
  #calledOff = 0;
  /** Whether the provider's answer to the sign-in has been handed on. */
  #answered = false;

  /** @param onChange is told whenever the thread has been connected or disconnected, here or elsewhere. */
  constructor(
    readonly calls: Calls,
    readonly onChange: () => void,
  ) {}

  readonly stage = (): Stage => this.#stage;

  /** Calls *watcher* with every change, until the function that is returned is called. */
  readonly watch = (watcher: () => void): (() => void) => {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  };

  /** Begins a sign-in, or joins the live one. */
  async begin(method: Method = DEVICE, replace = false): Promise<void> {
    this.#begins += 1;
    const mine = this.#begins;
    const until = Date.now() + PATIENCE_MS;
    let start: number | undefined;
    this.#answered = false;
    this.#enter({ at: "beginning", method, ending: false });
    while (mine === this.#begins) {
      let after = PAUSE_S;
      try {
        const answer = await this.calls.begin(method, replace, start);
        if (answer.kind === "begun") return await this.#begun(answer.attempt, mine);
        start = answer.generation;
        after = answer.retryAfter;
        if (Date.now() > until) throw new RequestError("The sandbox takes too long.", "sandbox_unavailable");
      } catch (error) {
        if (mine !== this.#begins) return;
        const refusal = asRequestError(error);
        if (refusal.code !== "signin_ending" || Date.now() > until) return this.#fail(method, refusal);
        after = refusal.retryAfter ?? PAUSE_S;
        this.#enter({ at: "beginning", method, ending: true });
      }
      await pause(after);
    }
  }

  /** Calls the sign-in off, wherever it stands. */
  async cancel(): Promise<void> {
    const was = this.#stage;
    this.#calledOff = this.#begins;
    this.#begins += 1;
    if (was.at !== "waiting") this.settle();
    try {
      this.#apply(await this.calls.cancel());
    } catch (error) {
      // One that is only just being begun may not be there yet: it is called off as soon as it is.
      if (was.at === "waiting") this.#fail(was.attempt.method, asRequestError(error));
    }
  }

  /** Hands on what the browser brought back from the provider. */
  async complete({ code, state }: ProviderAnswer): Promise<void> {
    if (code === null) {
      await this.calls.cancel().catch(() => null);
      return this.#enter({ at: "over", method: BROWSER, outcome: ofEnd("denied") });
    }
    try {
      await this.calls.complete(code, state);
      this.#answered = true;
      await this.look();
    } catch (error) {
      const refusal = asRequestError(error);
      if (refusal.code !== "forbidden") return this.#fail(BROWSER, refusal);
      this.#enter({ at: "over", method: BROWSER, outcome: FOREIGN });
    }
  }

  /** Goes on with an answer that has come back to the page, or else with a sign-in that waits; false: with nothing. */
  async resume(answer: ProviderAnswer | null): Promise<boolean> {
    if (answer !== null) {
      this.#enter({ at: "beginning", method: BROWSER, ending: false });
      await this.complete(answer);
    } else if (this.#stage.at === "rest") await this.look();
    return this.#stage.at !== "rest";
  }

  /** Asks where the sign-in stands. A look that fails says nothing about it; the next one may succeed. */
  async look(): Promise<void> {
    const attempt = await this.calls.find().catch(() => undefined);
    const { at } = this.#stage;
    const expected = at === "waiting" || this.#answered;
    if (attempt === undefined || (at === "beginning" && !expected)) return;
    if (attempt === null) {
      if (expected) this.#fail(DEVICE, new RequestError("", "no_signin"));
    } else if (attempt.status === "pending" && !attempt.url && !attempt.instructions) {
      // Whoever began it has left before there was anything to show.
      await this.begin(attempt.method);
    } else if (attempt.status === "pending" || expected) this.#apply(attempt);
  }

  /** Takes note of what is told to everybody in the thread. */
  told({ status, attempt_id: id, account_id }: z.infer<typeof Told>): void {
    const end = End.safeParse(status).data;
    if (!id || end === "connected") this.onChange();
    if (!id && this.#stage.at === "connected") this.settle();
    if (!id || this.#stage.at === "beginning") return;
    const awaited = this.#stage.at === "waiting" ? this.#stage.attempt : null;
    if (awaited?.attempt_id !== id) {
      if (status === "pending" || awaited !== null) void this.look();
    } else if (end !== undefined) this.#apply({ ...awaited, status: end, account_id });
  }

  /** Takes note that the end has been seen. */
  settle(): void {
    this.#enter({ at: "rest" });
  }

  /** Begins nothing any more. What has been begun goes on without the page. */
  leave(): void {
    this.#begins += 1;
  }

  async #begun(attempt: Attempt, mine: number): Promise<void> {
    if (mine === this.#calledOff) return void (await this.calls.cancel());
    if (attempt.method === BROWSER && attempt.url) remember(attempt.url, this.calls.thread);
    if (mine === this.#begins) this.#apply(attempt);
  }

  #apply(attempt: Attempt): void {
    const { status, attempt_id: id, method } = attempt;
    if (this.#ended.has(id)) return;
    if (status === "pending") {
      this.#enter({ at: "waiting", attempt, answered: this.#answered });
      return;
    }
    this.#ended.add(id);
    this.#answered = false;
    if (status === "connected") {
      this.#enter({ at: "connected", account: attempt.account_id ?? null });
      this.onChange();
    } else this.#enter({ at: "over", method, outcome: ofEnd(status) });
  }

  #fail(method: Method, refusal: RequestError): void {
    this.#enter({ at: "over", method, outcome: ofError(refusal) });
  }

  #enter(stage: Stage): void {
    this.#stage = stage;
    for (const watcher of this.#watchers) watcher();
  }
}

function asRequestError(error: unknown): RequestError {
  return error instanceof RequestError ? error : new RequestError("Something went wrong on this page. Reload it.");
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

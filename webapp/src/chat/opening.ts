import { useCallback, useEffect, useRef, useState } from "react";
import type { Config } from "../config";
import { sentenceOf, UnreachableError } from "../http";
import { forgetSession, getSession, isFresh, type Session } from "../session";
import { type ChatMessage, loadHistory } from "./messages";

/** What a chat needs to begin. */
export interface Opening {
  number: number;
  session: Session;
  history: ChatMessage[];
}

/** A token that is refused is asked for again, but not more often than this. */
const RENEW_MS = 30_000;

/**
 * Opens a thread: a session, then the conversation so far. It can be opened anew at any time, which is how the
 * page gets back to what the server holds; until that has succeeded the former opening stays.
 */
export function useOpening(config: Config, thread: string) {
  const [opening, setOpening] = useState<Opening | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const underWay = useRef(false);

  const open = useCallback(async () => {
    if (underWay.current) return;
    underWay.current = true;
    try {
      const session = await getSession(thread);
      const history = await loadHistory(config, thread);
      setProblem(null);
      setOpening((last) => ({ number: (last?.number ?? 0) + 1, session, history }));
    } finally {
      underWay.current = false;
    }
  }, [config, thread]);

  const reopen = useCallback(() => open().catch((error) => setProblem(sentenceOf(error))), [open]);

  useEffect(() => {
    void reopen();
  }, [reopen]);

  const onClose = useCallback(
    (wasOpen: boolean) => {
      if (opening === null) return;
      const refused = !wasOpen && Date.now() - opening.session.issuedAt > RENEW_MS;
      if (isFresh(opening.session) && !refused) return;
      forgetSession(thread);
      open().catch((error) => {
        // The client tries to connect again by itself, and this is asked again each time it fails.
        if (!(error instanceof UnreachableError)) setProblem(sentenceOf(error));
      });
    },
    [opening, open, thread],
  );

  return { opening, problem, reopen, onClose };
}

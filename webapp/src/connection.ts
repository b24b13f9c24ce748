import { useCallback, useMemo, useRef, useState } from "react";

/** The part of the agents client's socket that is watched. */
type Socket = Pick<EventTarget, "addEventListener" | "removeEventListener"> & { readyState: number; OPEN: number };

export type Turn = "unknown" | "none" | "running";

/** The connection to a thread. It outlives the sockets it is made of. */
export interface Connection {
  /** When the connection was lost (ms since the epoch), or null while there is one. */
  lostAt: number | null;
  /** Whether there has ever been one. */
  met: boolean;
  /** When anything at all last came through it (ms since the epoch). */
  heardAt: () => number;
  /** Whether an answer is under way, as far as the server has said on this connection. */
  turn: Turn;
  /** Whether it was lost in the middle of an answer, of which nothing has been heard since. */
  brokenOff: boolean;
  /** Takes note that the answer that broke off is no longer waited for. */
  mend: () => void;
  /** Watches a socket until the function that is returned is called. */
  watch: (socket: Socket, isBusy: () => boolean) => () => void;
}

/**
 * The connection of the thread that is open.
 *
 * @param onClose is told whether the connection had been open, or was refused.
 */
export function useConnection(onClose: (wasOpen: boolean) => void): Connection {
  const [lostAt, setLostAt] = useState<number | null>(() => Date.now());
  const [met, setMet] = useState(false);
  const [turn, setTurn] = useState<Turn>("unknown");
  const [brokenOff, setBrokenOff] = useState(false);
  const heard = useRef(Date.now());
  const tell = useRef(onClose);
  tell.current = onClose;

  const mend = useCallback(() => setBrokenOff(false), []);
  const watch = useCallback((socket: Socket, isBusy: () => boolean) => {
    let open = false;
    const opened = () => {
      open = true;
      heard.current = Date.now();
      setLostAt(null);
      setMet(true);
    };
    const lost = () => {
      setLostAt((since) => since ?? Date.now());
      setTurn("unknown");
      if (isBusy()) setBrokenOff(true);
    };
    const closed = () => {
      const was = open;
      open = false;
      lost();
      tell.current(was);
    };
    const message = (event: Event) => {
      heard.current = Date.now();
      const said = turnAfter(event);
      if (said === null) return;
      setTurn(said);
      if (said === "running") setBrokenOff(false);
    };
    if (socket.readyState === socket.OPEN) opened();
    socket.addEventListener("open", opened);
    socket.addEventListener("close", closed);
    socket.addEventListener("message", message);
    return () => {
      socket.removeEventListener("open", opened);
      socket.removeEventListener("close", closed);
      socket.removeEventListener("message", message);
      lost();
    };
  }, []);

  return useMemo(
    () => ({ lostAt, met, heardAt: () => heard.current, turn, brokenOff, mend, watch }),
    [lostAt, met, turn, brokenOff, mend, watch],
  );
}

/** What a frame says about an answer being under way; null when it says nothing. */
function turnAfter(event: Event): Turn | null {
  const frame: unknown = event instanceof MessageEvent ? event.data : null;
  const type = typeof frame === "string" ? /"type": ?"(cf_agent_[a-z_]+)"/.exec(frame)?.[1] : null;
  if (type === "cf_agent_stream_resume_none") return "none";
  if (type === "cf_agent_stream_resuming" || type === "cf_agent_use_chat_response") return "running";
  return null;
}

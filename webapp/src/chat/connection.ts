import { useCallback, useContext, useMemo, useRef, useState } from "react";
import { type Failure, readFrame } from "./frames";
import { SignalsContext } from "./signals";

/** The part of the agents client's socket that is watched. */
type Socket = Pick<EventTarget, "addEventListener" | "removeEventListener"> & { readyState: number; OPEN: number };

export type Turn = "unknown" | "none" | "asked" | "running";

/** What a socket ends with over a frame that is too large (RFC 6455, "message too big"). */
const TOO_LARGE = 1009;
const TOO_LONG: Failure = {
  sentence: "This message is too long: 24 KB is the most. Please send it in parts.",
  code: "too_large",
};

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
  /** What the server last refused or failed at, in any tab of the thread. */
  failure: Failure | null;
  /** Takes note that an answer has been asked for: that none is under way is said of the time before. */
  ask: () => void;
  /** Takes note that nothing that is under way is waited for, and that a failure has been seen. */
  settle: () => void;
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
  const [failure, setFailure] = useState<Failure | null>(null);
  const heard = useRef(Date.now());
  const running = useRef<string | null>(null);
  const settled = useRef<string | null>(null);
  const tell = useRef(onClose);
  tell.current = onClose;

  const settle = useCallback(() => {
    settled.current = running.current;
    setBrokenOff(false);
    setFailure(null);
    setTurn((was) => (was === "running" || was === "asked" ? "none" : was));
  }, []);

  const ask = useCallback(() => setTurn("asked"), []);

  const signals = useContext(SignalsContext);
  const note = useCallback(
    (data: unknown) => {
      const frame = readFrame(data);
      if (frame === null) return;
      // The chat client passes over what belongs to no answer.
      if (frame.kind === "notice") return signals.emit(frame.type, frame.data);
      if (frame.kind === "failure") {
        setTurn((was) => (was === "asked" ? "none" : was));
        return setFailure(frame.failure);
      }
      if (frame.kind === "idle") return setTurn((was) => (was === "asked" ? was : "none"));
      if (frame.kind === "running") {
        // What still comes of an answer that was stopped is not one that is under way.
        if (frame.request === settled.current) return;
        running.current = frame.request;
        setTurn("running");
        return setBrokenOff(false);
      }
      if (frame.failure !== null) setFailure(frame.failure);
      const current = running.current === null || frame.request === running.current;
      setTurn((was) => {
        // A turn that was displaced ends after the next one was asked for, or has begun.
        if (was === "asked") return frame.request === settled.current ? was : "none";
        return current ? "none" : was;
      });
    },
    [signals],
  );

  const watch = useCallback(
    (socket: Socket, isBusy: () => boolean) => {
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
      const closed = (event: Event) => {
        const was = open;
        open = false;
        lost();
        if (event instanceof CloseEvent && event.code === TOO_LARGE) {
          // Nothing of it was taken, so no answer was broken off.
          setBrokenOff(false);
          setFailure(TOO_LONG);
        }
        tell.current(was);
      };
      const message = (event: Event) => {
        heard.current = Date.now();
        if (event instanceof MessageEvent) note(event.data);
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
    },
    [note],
  );

  return useMemo(
    () => ({ lostAt, met, heardAt: () => heard.current, turn, brokenOff, failure, ask, settle, watch }),
    [lostAt, met, turn, brokenOff, failure, ask, settle, watch],
  );
}

import { useCallback, useContext, useMemo, useRef, useState } from "react";
import { type Failure, readFrame } from "./frames";
import { SignalsContext } from "./signals";

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
  /** What the server last refused or failed at, in any tab of the thread. */
  failure: Failure | null;
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
    setTurn((was) => (was === "running" ? "none" : was));
  }, []);

  const signals = useContext(SignalsContext);
  const note = useCallback(
    (data: unknown) => {
      const frame = readFrame(data);
      if (frame === null) return;
      // The chat client passes over what belongs to no answer.
      if (frame.kind === "notice") return signals.emit(frame.type, frame.data);
      if (frame.kind === "failure") return setFailure(frame.failure);
      if (frame.kind === "idle") return setTurn("none");
      if (frame.kind === "running") {
        // What still comes of an answer that was stopped is not one that is under way.
        if (frame.request === settled.current) return;
        running.current = frame.request;
        setTurn("running");
        return setBrokenOff(false);
      }
      if (frame.failure !== null) setFailure(frame.failure);
      // A turn that was displaced ends after the next one has begun.
      if (running.current === null || frame.request === running.current) setTurn("none");
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
      const closed = () => {
        const was = open;
        open = false;
        lost();
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
    () => ({ lostAt, met, heardAt: () => heard.current, turn, brokenOff, failure, settle, watch }),
    [lostAt, met, turn, brokenOff, failure, settle, watch],
  );
}

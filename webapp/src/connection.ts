import { useEffect, useRef, useState } from "react";

/** The part of the agents client's socket that is watched. */
type Socket = Pick<EventTarget, "addEventListener" | "removeEventListener"> & { readyState: number; OPEN: number };

export type Turn = "unknown" | "none" | "running";

export interface Connection {
  /** When the connection was lost (ms since the epoch), or null while there is one. */
  lostAt: number | null;
  /** When anything at all last came through it (ms since the epoch). */
  heardAt: () => number;
  /** Whether an answer is under way, as far as the server has said on this connection. */
  turn: Turn;
}

/**
 * Watches the socket under the chat.
 *
 * @param onClose is told whether the connection had been open, or was refused.
 */
export function useConnection(agent: Socket, onClose: (wasOpen: boolean) => void): Connection {
  const [lostAt, setLostAt] = useState<number | null>(() => Date.now());
  const [turn, setTurn] = useState<Turn>("unknown");
  const heard = useRef(Date.now());
  const tell = useRef(onClose);
  tell.current = onClose;

  useEffect(() => {
    let open = agent.readyState === agent.OPEN;
    if (open) setLostAt(null);
    const opened = () => {
      open = true;
      heard.current = Date.now();
      setLostAt(null);
    };
    const closed = () => {
      setLostAt((since) => since ?? Date.now());
      setTurn("unknown");
      tell.current(open);
      open = false;
    };
    const message = (event: Event) => {
      heard.current = Date.now();
      setTurn((was) => turnAfter(event) ?? was);
    };
    agent.addEventListener("open", opened);
    agent.addEventListener("close", closed);
    agent.addEventListener("message", message);
    return () => {
      agent.removeEventListener("open", opened);
      agent.removeEventListener("close", closed);
      agent.removeEventListener("message", message);
    };
  }, [agent]);

  return { lostAt, heardAt: () => heard.current, turn };
}

/** What a frame says about an answer being under way; null when it says nothing. */
function turnAfter(event: Event): Turn | null {
  const frame: unknown = event instanceof MessageEvent ? event.data : null;
  const type = typeof frame === "string" ? /"type": ?"(cf_agent_[a-z_]+)"/.exec(frame)?.[1] : null;
  if (type === "cf_agent_stream_resume_none") return "none";
  if (type === "cf_agent_stream_resuming" || type === "cf_agent_use_chat_response") return "running";
  return null;
}

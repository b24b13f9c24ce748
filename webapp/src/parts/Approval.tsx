import { useContext } from "react";
import { AnsweringContext } from "./answering";

/** Whether the agent may do it, this once. */
export function Approval({ id }: { id: string }) {
  const { approve } = useContext(AnsweringContext);
  return (
    <div className="approval" role="alert">
      <p>The agent asks before it does this. Allow it?</p>
      <div className="actions">
        <button type="button" onClick={() => approve(id, false)}>
          Refuse
        </button>
        <button type="button" className="primary" onClick={() => approve(id, true)}>
          Allow once
        </button>
      </div>
    </div>
  );
}

import { type DynamicToolUIPart, getToolName, type ToolUIPart } from "ai";
import { Icon } from "../ui/Icon";
import { Approval } from "./Approval";
import { Folded } from "./Folded";
import { Question } from "./Question";
import { type Result, readResult, tell } from "./tools";

interface ToolCallProps {
  part: ToolUIPart | DynamicToolUIPart;
  /** Whether its answer is still under way. */
  live: boolean;
}

type Mood = "running" | "asking" | "good" | "bad";

/** A call of a tool: what it was called with, what came of it, and what it still needs. */
export function ToolCall({ part, live }: ToolCallProps) {
  const name = getToolName(part);
  const { icon, verb, object, detail, telling } = tell(name, part.input);
  const result = part.state === "output-available" ? readResult(part.output) : null;
  const running = part.state === "output-available" && part.preliminary === true;
  const [mood, state] = moodOf(part, live, result);
  return (
    <section className="tool" data-mood={mood} aria-label={`${verb} ${object}`.trim()}>
      <header>
        <Icon name={icon} />
        <strong>{verb}</strong>
        {object !== "" && <code className="object">{object}</code>}
        <span className="state">{state}</span>
      </header>
      {detail !== null && <Folded text={detail} what="input" />}
      {name === "question" && <Question part={part} live={live} />}
      {name !== "question" && telling && result !== null && result.output !== "" && (
        <Folded text={result.output} what="output" end={running} />
      )}
      {result?.truncated && <p className="note">Only a part of the output is kept.</p>}
      {part.state === "output-error" && <p className="failure">{part.errorText}</p>}
      {part.state === "approval-requested" && live && <Approval id={part.approval.id} />}
    </section>
  );
}

function moodOf(part: ToolCallProps["part"], live: boolean, result: Result | null): [Mood, string] {
  switch (part.state) {
    case "output-available":
      if (part.preliminary) return ["running", "running"];
      if (result?.exitCode) return ["bad", `exit code ${result.exitCode}`];
      return ["good", result?.exitCode === 0 ? "exit code 0" : "done"];
    case "output-error":
      return ["bad", "failed"];
    case "output-denied":
      return ["bad", "refused"];
    case "approval-requested":
      return live ? ["asking", "asks first"] : ["bad", "not answered"];
    case "approval-responded":
      return part.approval.approved ? ["running", "allowed"] : ["bad", "refused"];
    default:
      if (getToolName(part) === "question") return live ? ["asking", "waits for you"] : ["bad", "not answered"];
      return live ? ["running", "running"] : ["bad", "interrupted"];
  }
}

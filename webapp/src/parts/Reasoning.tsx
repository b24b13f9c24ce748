import { Icon } from "../ui/Icon";
import { Markdown } from "./Markdown";

/** What the model thought before it spoke: there for whoever wants to know. */
export function Reasoning({ text, live }: { text: string; live: boolean }) {
  if (text.trim() === "") return null;
  return (
    <details className="reasoning">
      <summary>
        <Icon name="chevron" />
        {live ? "Thinking…" : "Thoughts"}
      </summary>
      <Markdown text={text} />
    </details>
  );
}

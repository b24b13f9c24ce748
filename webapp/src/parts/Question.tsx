import type { DynamicToolUIPart, ToolUIPart } from "ai";
import { type FormEvent, useContext, useState } from "react";
import { z } from "zod";
import { AnsweringContext } from "./answering";
import { readResult } from "./tools";

const Asked = z.object({
  questions: z.array(
    z.object({
      question: z.string(),
      options: z.array(z.object({ label: z.string(), description: z.string().default("") })).default([]),
      multiple: z.boolean().default(false),
    }),
  ),
});
const Given = z.object({ answers: z.array(z.array(z.string())) });

interface QuestionProps {
  part: ToolUIPart | DynamicToolUIPart;
  live: boolean;
}

/** What the agent wants to know: to choose from, or to be answered in one's own words. */
export function Question({ part, live }: QuestionProps) {
  const { answer } = useContext(AnsweringContext);
  const asked = Asked.safeParse(part.input).data?.questions ?? [];
  const [chosen, setChosen] = useState<string[][]>([]);
  const [own, setOwn] = useState<string[]>([]);
  if (part.state === "output-available") return <Answered output={part.output} questions={asked} />;
  if (part.state !== "input-available") return null;

  const answers = asked.map((_, place) => [...(chosen[place] ?? []), own[place]?.trim() ?? ""].filter(Boolean));
  const complete = live && answers.length > 0 && answers.every((each) => each.length > 0);
  const choose = (place: number, label: string, multiple: boolean, on: boolean) => {
    const others = multiple ? (chosen[place] ?? []).filter((each) => each !== label) : [];
    setChosen(asked.map((_, at) => (at === place ? [...others, ...(on ? [label] : [])] : (chosen[at] ?? []))));
    if (!multiple) setOwn(asked.map((_, at) => (at === place ? "" : (own[at] ?? ""))));
  };
  const write = (place: number, text: string, multiple: boolean) => {
    setOwn(asked.map((_, at) => (at === place ? text : (own[at] ?? ""))));
    if (!multiple && text !== "") setChosen(asked.map((_, at) => (at === place ? [] : (chosen[at] ?? []))));
  };
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (complete) answer(part.toolCallId, "question", answers);
  };
  return (
    <form className="question" onSubmit={onSubmit}>
      {asked.map(({ question, options, multiple }, place) => (
        <fieldset key={question} disabled={!live}>
          <legend>{question}</legend>
          {options.map(({ label, description }) => (
            <label key={label} className="option">
              <input
                type={multiple ? "checkbox" : "radio"}
                name={`${part.toolCallId}-${place}`}
                checked={chosen[place]?.includes(label) ?? false}
                onChange={(event) => choose(place, label, multiple, event.target.checked)}
              />
              <span>{label}</span>
              {description !== "" && <small>{description}</small>}
            </label>
          ))}
          <input
            type="text"
            aria-label="Something else"
            placeholder="Something else…"
            maxLength={4000}
            value={own[place] ?? ""}
            onChange={(event) => write(place, event.target.value, multiple)}
          />
        </fieldset>
      ))}
      <div className="actions">
        <button type="submit" className="primary" disabled={!complete}>
          Answer
        </button>
      </div>
    </form>
  );
}

/** What was answered: at first what was sent, later what the agent was told of it. */
function Answered({ output, questions }: { output: unknown; questions: { question: string }[] }) {
  const sent = Given.safeParse(output).data?.answers;
  const told = readResult(output).output;
  const answers = sent?.map((each) => each.join(", ")) ?? questions.map(({ question }) => answerIn(told, question));
  if (answers.some((each) => each === null)) return <p className="note">{told}</p>;
  return (
    <div className="question">
      {questions.map(({ question }, place) => (
        <p key={question} className="note">
          {question} <strong>{answers[place]}</strong>
        </p>
      ))}
    </div>
  );
}

/** The agent is told `… "question"="answer" …` (opencode 1.18). */
function answerIn(told: string, question: string): string | null {
  const [, after] = told.split(`"${question}"="`);
  return after?.slice(0, after.indexOf('"')) ?? null;
}

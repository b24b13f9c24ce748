import { type FormEvent, useId, useState } from "react";
import type { Attempt } from "./attempt";
import { LocalProvider, ProviderLink } from "./ProviderLink";
import { answerIn, type ProviderAnswer } from "./returned";
import { TimeLeft } from "./TimeLeft";

interface BrowserSigninProps {
  attempt: Attempt;
  idpUrl: string | null;
  onAnswer: (answer: ProviderAnswer) => void;
}

/** A sign-in through the browser. The provider may send it to an address that only the sandbox could answer. */
export function BrowserSignin({ attempt, idpUrl, onAnswer }: BrowserSigninProps) {
  const { url, expires_at } = attempt;
  const [text, setText] = useState("");
  const [problem, setProblem] = useState(false);
  const field = useId();
  const note = useId();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const answer = answerIn(text);
    setProblem(answer === null);
    if (answer !== null) onAnswer(answer);
  };
  return (
    <>
      <p className="go">
        {url && <ProviderLink url={url} primary={!idpUrl} />}
        <TimeLeft at={expires_at} />
      </p>
      {idpUrl && url && <LocalProvider url={`${idpUrl}/oauth/authorize${new URL(url).search}`} />}
      <form className="pasted" onSubmit={submit}>
        <label htmlFor={field}>
          Approved, and now there is a page that cannot be opened? Paste its address here. Give it to nobody else.
        </label>
        <input
          id={field}
          type="text"
          value={text}
          placeholder="http://localhost:1455/auth/callback?code=…"
          autoComplete="off"
          spellCheck={false}
          aria-invalid={problem}
          aria-describedby={problem ? note : undefined}
          onChange={(event) => {
            setText(event.target.value);
            setProblem(false);
          }}
        />
        <button type="submit" disabled={text.trim() === ""}>
          Continue
        </button>
        {problem && (
          <p id={note} className="failure" role="alert">
            There is no code in this address. It begins with http://localhost:1455 and contains “code=”.
          </p>
        )}
      </form>
    </>
  );
}

const OF_THE_DEMO = ["run: ls -la", "write hello.py and run it", "ask me which colour I like", "show me markdown"];
const OF_A_MODEL = [
  "What can you do in your sandbox?",
  "Write a small game in Python and test it",
  "Check out a git repository and explain how it is built",
];

interface WelcomeProps {
  demo: boolean;
  onSuggestion: (text: string) => void;
}

/** What stands in a thread before anything was said. */
export function Welcome({ demo, onSuggestion }: WelcomeProps) {
  return (
    <div className="welcome">
      <h2>A new thread</h2>
      <p>It gets a sandbox of its own, with a coding agent in it, as soon as you send the first message.</p>
      <ul aria-label="Suggestions">
        {(demo ? OF_THE_DEMO : OF_A_MODEL).map((text) => (
          <li key={text}>
            <button type="button" onClick={() => onSuggestion(text)}>
              {text}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

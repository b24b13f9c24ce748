import { useCallback, useEffect, useState } from "react";
import { ThreadView } from "./chat/ThreadView";
import { type Config, loadConfig } from "./config";
import { DemoNote } from "./DemoNote";
import { ThreadList } from "./threads/ThreadList";
import { useThreads } from "./threads/threads";
import { Icon } from "./ui/Icon";
import { Notice } from "./ui/Notice";

/** The page: the threads on one side, the open one beside it. */
export function App() {
  const threads = useThreads();
  const [menu, setMenu] = useState(false);
  const { config, problem, retry } = useConfig();
  const { id, title } = threads.current;

  useEffect(() => {
    document.title = title === "" ? "Threadbox" : `${title} · Threadbox`;
  }, [title]);

  return (
    <div className="page" data-menu={menu ? "open" : "closed"}>
      <div className="side">
        <div className="brand">
          <Icon name="box" />
          Threadbox
          <button
            type="button"
            className="icon menu"
            aria-label="Threads"
            aria-expanded={menu}
            onClick={() => setMenu(!menu)}
          >
            <Icon name={menu ? "cross" : "menu"} />
          </button>
        </div>
        <ThreadList config={config} threads={threads} onChosen={() => setMenu(false)} />
        {config?.demoModel && <DemoNote />}
      </div>
      <main>
        {problem !== null && (
          <Notice tone="problem" action={{ label: "Try again", run: retry }}>
            {problem}
          </Notice>
        )}
        {config !== null && <ThreadView key={id} config={config} thread={threads.current} threads={threads} />}
      </main>
    </div>
  );
}

function useConfig(): { config: Config | null; problem: string | null; retry: () => void } {
  const [config, setConfig] = useState<Config | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const retry = useCallback(() => {
    setProblem(null);
    loadConfig().then(setConfig, (error: Error) => setProblem(error.message));
  }, []);
  useEffect(retry, [retry]);
  return { config, problem, retry };
}

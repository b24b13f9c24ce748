import { useCallback, useEffect, useState } from "react";
import { type Config, loadConfig } from "./config";
import { Notice } from "./Notice";
import { ThreadList } from "./ThreadList";
import { ThreadView } from "./ThreadView";
import { useThreads } from "./threads";

/** The page: the threads on one side, the open one beside it. */
export function App() {
  const { threads, current, open, create, entitle } = useThreads();
  const [menu, setMenu] = useState(false);
  const { config, problem, retry } = useConfig();

  const choose = (action: () => void) => {
    action();
    setMenu(false);
  };
  return (
    <div className="page" data-menu={menu ? "open" : "closed"}>
      <header>
        <button type="button" className="menu" aria-expanded={menu} onClick={() => setMenu(!menu)}>
          Threads
        </button>
        <h1>Threadbox</h1>
      </header>
      <ThreadList
        threads={threads}
        current={current}
        onOpen={(id) => choose(() => open(id))}
        onCreate={() => choose(create)}
      />
      <main>
        {problem !== null && (
          <Notice tone="problem" action={{ label: "Try again", run: retry }}>
            {problem}
          </Notice>
        )}
        {config !== null && (
          <ThreadView
            key={current}
            config={config}
            thread={current}
            onFirstMessage={(text) => entitle(current, text)}
          />
        )}
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

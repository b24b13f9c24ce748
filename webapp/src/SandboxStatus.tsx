/** What the backend says about the thread's sandbox. */
export interface Sandbox {
  state: string;
  detail?: string;
}

const STATES: Record<string, string> = {
  stopped: "Sandbox stopped",
  starting: "Starting the sandbox…",
  running: "Sandbox running",
  stopping: "Stopping the sandbox…",
  failed: "The sandbox could not start",
};

const PHASES: Record<string, string> = {
  requested: "asking for one",
  pulling: "fetching its image",
  claiming: "connecting to it",
  restoring: "bringing its files back",
  booting: "starting OpenCode in it",
};

/** Whether data that came from outside is a sandbox's state. */
export function isSandbox(data: unknown): data is Sandbox {
  return typeof (data as Partial<Sandbox> | null)?.state === "string";
}

/** One line: is there a sandbox, and what is it doing. */
export function SandboxStatus({ sandbox }: { sandbox: Sandbox }) {
  const phase = sandbox.state === "starting" ? PHASES[sandbox.detail ?? ""] : undefined;
  return (
    <p className="sandbox" data-state={sandbox.state} role="status">
      {STATES[sandbox.state] ?? `Sandbox ${sandbox.state}`}
      {phase !== undefined && <span className="phase">{phase}</span>}
    </p>
  );
}

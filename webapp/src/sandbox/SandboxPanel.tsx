import { useEffect } from "react";
import type { Failure } from "../chat/frames";
import type { FindRemedy } from "../chat/remedies";
import { Icon } from "../ui/Icon";
import { Popover } from "../ui/Popover";
import type { SandboxView } from "./sandbox";

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

interface SandboxPanelProps {
  sandbox: SandboxView;
  findRemedy: FindRemedy;
}

/** The sandbox in a word, and behind it since when, with what, and the buttons to start and stop it. */
export function SandboxPanel({ sandbox, findRemedy }: SandboxPanelProps) {
  const state = sandbox.status?.state ?? "unknown";
  const trigger = (
    <span className="sign sandbox" data-state={state} aria-live="polite">
      {STATES[state] ?? "Sandbox"}
    </span>
  );
  return (
    <Popover label="Sandbox" trigger={trigger} side="below" align="end">
      {() => <Details sandbox={sandbox} findRemedy={findRemedy} />}
    </Popover>
  );
}

function Details({ sandbox, findRemedy }: SandboxPanelProps) {
  const { status, problem, asking, start, stop, refresh } = sandbox;
  useEffect(refresh, [refresh]);
  const state = status?.state ?? "stopped";
  const phase = state === "starting" ? PHASES[status?.detail ?? ""] : undefined;
  const up = state === "running" || state === "starting";
  return (
    <div className="sandbox-details">
      <p>
        {state === "running"
          ? "The agent's own machine for this thread. It ends by itself when nobody uses it."
          : "A machine of its own for this thread's agent. It starts with the next message, or now."}
      </p>
      <dl>
        {phase !== undefined && <Fact name="Now" value={phase} />}
        {state === "starting" && <Time name="Asked for" at={status?.requested_at} />}
        {state === "running" && <Time name="Running since" at={status?.started_at} />}
        {state === "running" && <Time name="Ends at the latest" at={status?.ends_at} />}
        {state === "running" && status?.opencode_version && <Fact name="OpenCode" value={status.opencode_version} />}
        {status?.codex?.connected && <Fact name="ChatGPT" value={status.codex.account_id ?? "connected"} />}
        {status?.codex?.reconnect_required && <Fact name="ChatGPT" value="connection ended" />}
        {!up && status?.reason && <Fact name="Ended" value={status.reason} />}
      </dl>
      {problem !== null && <Problem failure={problem} findRemedy={findRemedy} />}
      {up ? (
        <button type="button" disabled={asking} onClick={stop}>
          <Icon name="stop" />
          Stop the sandbox
        </button>
      ) : (
        <button type="button" disabled={asking || state === "stopping"} onClick={start}>
          <Icon name="play" />
          Start the sandbox
        </button>
      )}
    </div>
  );
}

/** Why it was not started or stopped; the button below is there to try again. */
function Problem({ failure, findRemedy }: { failure: Failure; findRemedy: FindRemedy }) {
  const { sentence, way } = findRemedy(failure);
  return (
    <div role="alert">
      <p className="failure">{sentence}</p>
      {way !== null && (
        <button type="button" onClick={way.run}>
          {way.label}
        </button>
      )}
    </div>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Time({ name, at }: { name: string; at: number | null | undefined }) {
  if (at === null || at === undefined) return null;
  const time = new Date(at * 1000);
  const minutes = Math.max(0, Math.floor((Date.now() - time.getTime()) / 60_000));
  const clock = time.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  const ago = minutes < 1 ? "just now" : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
  return <Fact name={name} value={time.getTime() > Date.now() ? clock : `${clock} (${ago})`} />;
}

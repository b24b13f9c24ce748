interface Connection {
  send(data: string): void;
}

/** Allows what a tool call asks for, or refuses it; `agent` is what `useAgent` returns. */
export function approve(agent: Connection, toolCallId: string, approved: boolean) {
  agent.send(JSON.stringify({ type: "cf_agent_tool_approval", toolCallId, approved }));
}

import { createContext } from "react";

/** How what the agent asks is answered. */
export interface Answering {
  /** Whether an answer is under way that can still take one. */
  open: boolean;
  /** Allows or refuses, this once, what a tool wants to do. */
  approve: (approvalId: string, approved: boolean) => void;
  /** Answers the questions of one call, in their order. */
  answer: (toolCallId: string, toolName: string, answers: string[][]) => void;
}

export const AnsweringContext = createContext<Answering>({ open: false, approve: () => {}, answer: () => {} });

import { createContext } from "react";

/** How what was said before is asked again. The conversation goes on from there: what followed is gone. */
export interface Revising {
  /** Whether that can be done now. */
  open: boolean;
  /** Has the question of an answer answered anew. */
  again: (answerId: string) => void;
  /** Asks with another text what a message asked. */
  edit: (messageId: string, text: string) => void;
}

export const RevisingContext = createContext<Revising>({ open: false, again: () => {}, edit: () => {} });

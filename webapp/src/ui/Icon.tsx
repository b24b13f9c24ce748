/** Line drawings on a grid of 16. */
const PATHS = {
  plus: "M8 3v10M3 8h10",
  pencil: "M3 13l.7-2.8 7-7a1.2 1.2 0 0 1 1.7 0l.4.4a1.2 1.2 0 0 1 0 1.7l-7 7z",
  bin: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 8.5h6l.5-8.5M6.8 7v3.6M9.2 7v3.6",
  copy: "M5.5 5.5V3.2a.7.7 0 0 1 .7-.7h6.1a.7.7 0 0 1 .7.7v6.6a.7.7 0 0 1-.7.7h-1.8M3.2 5.5h6.6v8H3.2z",
  check: "M3 8.5l3.2 3L13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  chevron: "M6 4l4 4-4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  up: "M8 13V3M4 7l4-4 4 4",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  terminal: "M3 5l3 3-3 3M8 11.5h5",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  globe: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM2.5 8h11M8 2.5c2 2 2 9 0 11M8 2.5c-2 2-2 9 0 11",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.5 3.5",
  question: "M5.8 6a2.2 2.2 0 1 1 3.3 1.9c-.8.5-1.1.9-1.1 1.8M8 12.2v.1",
  tool: "M9.8 3a3.2 3.2 0 0 0-3 4.3L2.8 11.4l1.8 1.8 4.1-4a3.2 3.2 0 0 0 4.2-4l-1.9 1.9-1.8-.4-.4-1.8 1.9-1.8z",
  stop: "M4.5 4.5h7v7h-7z",
  play: "M5 3.5l7 4.5-7 4.5z",
  again: "M12.8 8a4.8 4.8 0 1 1-1.5-3.5M11.5 2v2.8H8.7",
  away: "M6 4H3.5v8.5H12V10M9 3h4v4M13 3L7.5 8.5",
  box: "M2.5 5L8 2.5 13.5 5v6L8 13.5 2.5 11zM2.5 5L8 7.5 13.5 5M8 7.5v6",
} as const;

export type IconName = keyof typeof PATHS;

/** Decoration only: what it means is said by the words beside it, or by the button's name. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="drawing" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

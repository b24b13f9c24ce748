import { useEffect, useState } from "react";
import { clock } from "./words";

/** How long until *at* (epoch seconds); not read out with every second. */
export function TimeLeft({ at }: { at: number }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.ceil(at - now / 1000));
  return (
    <span className="time-left" role="timer" aria-live="off">
      {clock(seconds)} left
    </span>
  );
}

import { useEffect, useState } from "react";
import type { Config } from "../config";
import { Icon } from "../ui/Icon";
import { Popover } from "../ui/Popover";
import { CODEX, loadModels, nameOf, type Offer } from "./models";

interface ModelPickerProps {
  config: Config;
  thread: string;
  /** `provider/id`, or empty for the default, whichever it is. */
  chosen: string;
  /** Whether the thread is connected to ChatGPT, which changes what there is to choose from; null: not known yet. */
  codex: boolean | null;
  onChoose: (model: string) => void;
}

/** Which model answers the next message. The list is asked for when it is opened, since that takes a sandbox. */
export function ModelPicker({ config, thread, chosen, codex, onChoose }: ModelPickerProps) {
  const [offers, setOffers] = useState<Offer[] | null>(null);
  const changed = useChanged(codex);
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked again with each change of the connection
  useEffect(() => {
    if (changed === 0) return;
    let wanted = true;
    // What was chosen of ChatGPT goes with it.
    if (codex === false && chosen.startsWith(`${CODEX}/`)) onChoose("");
    setOffers(null);
    loadModels(config, thread).then(
      (answer) => wanted && setOffers(answer),
      // Without a list the default is named as such, and opening the list asks again.
      () => undefined,
    );
    return () => {
      wanted = false;
    };
  }, [changed]);
  const known = offers?.find((offer) => (chosen === "" ? offer.default : nameOf(offer) === chosen));
  const label = known?.name ?? (chosen === "" ? "Default model" : chosen.slice(chosen.indexOf("/") + 1));
  const trigger = (
    <>
      <span className="visually-hidden">Model: </span>
      <span className="name">{label}</span>
      <Icon name="chevron" />
    </>
  );
  return (
    <Popover label="Model" className="models" trigger={trigger} side="above" align="start">
      {() => (
        <Offers
          load={() => loadModels(config, thread)}
          offers={offers}
          onOffers={setOffers}
          chosen={chosen}
          onChoose={onChoose}
        />
      )}
    </Popover>
  );
}

/** How often a value has changed since it was first known. */
function useChanged(value: boolean | null): number {
  const [seen, setSeen] = useState({ value, times: 0 });
  if (value === null || value === seen.value) return seen.times;
  const next = { value, times: seen.value === null ? 0 : seen.times + 1 };
  setSeen(next);
  return next.times;
}

interface OffersProps {
  load: () => Promise<Offer[]>;
  offers: Offer[] | null;
  onOffers: (offers: Offer[]) => void;
  chosen: string;
  onChoose: (model: string) => void;
}

function Offers({ load, offers, onOffers, chosen, onChoose }: OffersProps) {
  const [problem, setProblem] = useState<string | null>(null);
  const [tries, setTries] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked once when it opens, and with each further try
  useEffect(() => {
    let wanted = true;
    setProblem(null);
    load().then(
      (answer) => wanted && onOffers(answer),
      (error: Error) => wanted && setProblem(error.message),
    );
    return () => {
      wanted = false;
    };
  }, [tries]);
  if (problem !== null)
    return (
      <div role="alert">
        <p className="failure">{problem}</p>
        <button type="button" onClick={() => setTries(tries + 1)}>
          Try again
        </button>
      </div>
    );
  if (offers === null) return <p role="status">Asking the sandbox for its models…</p>;
  return (
    <fieldset>
      <legend className="visually-hidden">Model</legend>
      {offers.map((offer) => (
        <label key={nameOf(offer)} className="option">
          <input
            type="radio"
            name="model"
            checked={chosen === "" ? offer.default : chosen === nameOf(offer)}
            // The default is not held on to: it changes with what the thread is connected to.
            onChange={() => onChoose(offer.default ? "" : nameOf(offer))}
          />
          <span>{offer.name}</span>
          <small>{from(offer)}</small>
        </label>
      ))}
    </fieldset>
  );
}

/** Who provides it, and whether it is the default. The configured model's provider has no name of its own. */
function from({ provider, default: isDefault }: Offer): string {
  const name = provider === CODEX ? "ChatGPT" : provider === "default" ? "" : provider;
  const facts = [name, isDefault ? "default" : ""];
  return facts.filter((fact) => fact !== "").join(" · ");
}

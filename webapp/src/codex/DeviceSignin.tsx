import { CopyButton } from "../ui/CopyButton";
import type { Attempt } from "./attempt";
import { LocalProvider, ProviderLink } from "./ProviderLink";
import { TimeLeft } from "./TimeLeft";

interface DeviceSigninProps {
  attempt: Attempt;
  idpUrl: string | null;
}

/** A sign-in with a code: the code, and where to take it. */
export function DeviceSignin({ attempt, idpUrl }: DeviceSigninProps) {
  const { user_code: code, url, instructions, expires_at } = attempt;
  const local = idpUrl && `${idpUrl}/codex/device${code ? `?${new URLSearchParams({ user_code: code })}` : ""}`;
  return (
    <>
      {code ? (
        <figure className="user-code" aria-label="Code">
          <strong>{code}</strong>
          <CopyButton text={code} label="Copy code" />
        </figure>
      ) : (
        <p className="instructions">{instructions}</p>
      )}
      <p className="warning">Never share this code with anyone.</p>
      <p className="go">
        {url && <ProviderLink url={url} primary={!local} />}
        <TimeLeft at={expires_at} />
      </p>
      {local && <LocalProvider url={local} />}
    </>
  );
}

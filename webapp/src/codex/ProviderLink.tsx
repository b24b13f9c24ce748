import { Icon } from "../ui/Icon";

interface ProviderLinkProps {
  url: string;
  primary: boolean;
}

/** Opens the provider's page beside this one. */
export function ProviderLink({ url, primary }: ProviderLinkProps) {
  const { host, pathname } = new URL(url);
  return (
    <a className={primary ? "button primary" : "button"} href={url} target="_blank" rel="noopener noreferrer">
      <span>
        Open {host}
        <wbr />
        {pathname}
      </span>
      <Icon name="away" />
    </a>
  );
}

/** Says that the provider is played here, and where. */
export function LocalProvider({ url }: { url: string }) {
  return (
    <div className="local">
      <p>On this machine a local page plays ChatGPT, which does not know this sign-in. No account is needed there.</p>
      <a className="button primary" href={url} target="_blank" rel="noopener noreferrer">
        Open the local page
        <Icon name="away" />
      </a>
    </div>
  );
}

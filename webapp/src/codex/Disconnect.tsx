import { Confirmation } from "../ui/Confirmation";
import type { Calls } from "./calls";

interface DisconnectProps {
  calls: Calls;
  account: string | null;
  /** Whether a sign-in is to follow. */
  anew: boolean;
  onClose: () => void;
  onDisconnected: () => void;
}

/** Takes the connection back, after a question; perhaps for another one. */
export function Disconnect({ calls, account, anew, onClose, onDisconnected }: DisconnectProps) {
  return (
    <Confirmation
      title={anew ? "Sign in anew?" : "Disconnect ChatGPT?"}
      action={anew ? "Disconnect and sign in" : "Disconnect"}
      doing="Disconnecting…"
      onConfirm={() => calls.disconnect()}
      onDone={onDisconnected}
      onCancel={onClose}
    >
      <p>
        This thread forgets the sign-in{account && <> of {account}</>}, and other models answer{" "}
        {anew ? "until you have signed in again" : "from then on"}. Nothing of the conversation is lost.{" "}
        {anew ? "The new sign-in begins at once." : "You can connect again at any time."}
      </p>
    </Confirmation>
  );
}

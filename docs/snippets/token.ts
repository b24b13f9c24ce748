import { SignJWT } from "jose";

/** The value of the secret that the stack's output `SessionSecretArn` names. */
interface Secret {
  kid: string;
  key: string;
}

const LIFE_SECONDS = 900;

/** `POST /session {thread}` for a user whom your app has signed in already, and who may open that thread. */
export async function issueSession(secret: Secret, user: string, thread: string): Promise<Response> {
  const now = Math.floor(Date.now() / 1000);
  const expires_at = now + LIFE_SECONDS;
  const token = await new SignJWT({ thread_id: thread, user_id: user })
    .setProtectedHeader({ alg: "HS256", kid: secret.kid })
    .setAudience("threadbox")
    .setIssuedAt(now)
    .setExpirationTime(expires_at)
    .sign(new TextEncoder().encode(secret.key));
  return Response.json({ token, expires_at }, { headers: { "cache-control": "no-store" } });
}

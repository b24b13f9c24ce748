// The chat client checks data with zod, which tries whether it may compile code as soon as it is used. The page's
// policy forbids that, and browsers report the try; so this comes before everything that uses zod.
import { config } from "zod";

config({ jitless: true });

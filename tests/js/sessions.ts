// What the session of every generated client returns.
export interface Session {
  jobId: string;
  // The progress in each event of the stream.
  progress: number[];
  status: string;
  overallScore: number | undefined;
  // The status and reason of the error for a token that does not exist.
  error: { status: number; reason: string | undefined };
}

export const MISSING_TOKEN = 2147483647;

export function progressOf(events: string): number[] {
  return events
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => JSON.parse(line.slice("data: ".length)).progress);
}

// The value of a field that a generated type does not allow to be absent.
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("The response has no data.");
  return value;
}

// Runs the behaviours of one client, each a function that throws if the client's user would not get what the client promises.
// One line of JSON for each goes to standard output, for ../run.py to make a table of.

export const url = process.argv[2].replace(/\/$/, "");
export const chat = "tiny";
export const embedder = "tiny-embed";
// What the model has learnt, so that an answer can be told from noise.
export const question = "What is the capital of France?";
export const answer = /Paris/;
export const weatherQuestion = "What is the weather in Paris?";
export const extraction = "Extract the name and the age as JSON: Ada is 36 years old.";
export const weatherSchema = { type: "object", properties: { city: { type: "string", description: "The city" } }, required: ["city"] };
export const personSchema = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] };
export const weather = "18 degrees and sunny";

export async function run(behaviours) {
  let failed = false;
  for (const [behaviour, check] of Object.entries(behaviours)) {
    let failure = null;
    try {
      await check();
    } catch (error) {
      failure = `${error.name}: ${error.message}`;
      failed = true;
      console.error(error);
    }
    console.log(JSON.stringify({ behaviour, failure }));
  }
  // Some clients keep connections open that would keep the process alive.
  process.exit(failed ? 1 : 0);
}

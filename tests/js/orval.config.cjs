// The client for `orval_session.ts`, from the variables that the test sets.
const { OPENAPI_DOCUMENT, ORVAL_TARGET, BASE_URL } = process.env;

module.exports = {
  sori: {
    input: OPENAPI_DOCUMENT,
    output: { target: ORVAL_TARGET, client: "fetch", mode: "single", baseUrl: BASE_URL },
  },
};

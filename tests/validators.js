// Both judges of a form: Backstage's backend (jsonschema) and a browser's form (ajv, set up as react-jsonschema-form does).
// Each line that it reads is a [{schema, value}], and is answered by a line: per pair what is wrong, by judge.
const path = require('node:path');
const { validate } = require(path.join(process.argv[2], 'jsonschema'));
const Ajv = require(path.join(process.argv[2], 'ajv')).default;
const formats = require(path.join(process.argv[2], 'ajv-formats')).default;

const wrong = judge => {
  try {
    return judge() || '';
  } catch (error) {
    return `${error}`;
  }
};
require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
  const ajv = new Ajv({ allErrors: true, multipleOfPrecision: 8, strict: false, verbose: true });
  formats(ajv);
  const answers = JSON.parse(line).map(({ schema, value }) => ({
    backend: wrong(() => validate(value, schema).errors.join('; ')),
    browser: wrong(() => {
      const judge = ajv.compile(schema);
      return judge(value) ? '' : ajv.errorsText(judge.errors);
    }),
  }));
  process.stdout.write(`${JSON.stringify(answers)}\n`);
});

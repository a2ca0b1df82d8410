// Numbers and names as people say them.

// Calibrated probability, what it is in words, and the tone they are said in.
const SURE = [[0.97, "Almost certain", "good"], [0.85, "Quite sure", "good"], [0.6, "Fairly sure", "plain"],
  [0.4, "Unsure", "busy"], [0, "Only a guess", "busy"]];

export const percent = share =>
  `${share > 0.9995 ? "> 99.9" : share < 0.0005 ? "< 0.1" : (100 * share).toFixed(1)}\u00a0%`;

// 001.Affenpinscher, n02085620-Chihuahua, Afghan_hound. What would then be two classes of one name stays as it is.
export function writeNames(classNames) {
  const isNumbered = classNames.length > 1 && classNames.every(name => /^\d+[._ -]+\p{L}/u.test(name));
  const beginning = isNumbered ? /^\d+[._ -]+/ : /^n\d{8}[._ -]+(?=\S)/;
  const written = classNames.map(name => {
    const text = name.replace(beginning, "").replaceAll("_", " ").trim() || name;
    return text[0].toUpperCase() + text.slice(1);
  });
  const isUnique = text => written.indexOf(text) === written.lastIndexOf(text);
  return new Map(classNames.map((name, at) => [name, isUnique(written[at]) ? written[at] : name]));
}

export function describeModel(names, explains) {
  const written = [...names.values()], count = written.length.toLocaleString("en");
  if (written.length < 2) return "This model knows a single class.";
  const classes = written.length > 2 ? `${count} classes, from ${written[0]} to ${written.at(-1)}` : written.join(" and ");
  return `This model knows ${classes}. It says which one it sees${explains ? ", how sure it is, and where it looked" : " and how sure it is"}.`;
}

export function describeSureness([first, second], names) {
  const [, badge, tone] = SURE.find(([least]) => first.probability >= least);
  const right = first.probability >= 0.995 ? "more than 99" : `about ${Math.round(100 * first.probability)}`;
  const isTorn = first.probability < 0.6 && second?.probability > 0.5 * first.probability;
  const between = isTorn ? `It wavers between ${names.get(first.label)} and ${names.get(second.label)}. ` : "";
  return { badge, tone, words: `${between}Of answers this sure, ${right} in 100 are right.` };
}

// Familiarity is the share of held-out pictures that are at least as strange.
export function describeFamiliarity({ familiarity, unlike_training_data: isUnlike }) {
  if (familiarity === null || familiarity === undefined) {
    return "This model cannot tell whether a picture is unlike its training data: judge for yourself.";
  }
  const hundredth = Math.round(100 * familiarity);
  const share = familiarity < 0.01 ? "Fewer than 1" : `About ${hundredth}`;
  const verb = hundredth > 1 ? "are" : "is";
  const ending = `${share} in 100 pictures kept back from training ${verb} as unusual as this one.`;
  return isUnlike ? ending : `${familiarity < 0.1 ? "Somewhat unusual." : "Much like its training pictures."} ${ending}`;
}

// Words of a POSIX shell; Windows takes them, too, unless a name needs the quotes.
export function writeCurl(file, type, url) {
  const word = `@${file}`, quoted = /^[\w@.\/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  return `curl --data-binary ${quoted} -H "Content-Type: ${type}" ${url}`;
}

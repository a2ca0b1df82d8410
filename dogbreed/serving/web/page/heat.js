// Where the model looked, drawn over the picture.

const LONGEST_PX = 320; // it is smooth: the browser may stretch it
// Share of the largest attention: red, green, blue, opacity. Dark where it did not look, a warm light where it did.
const RAMP = [[0, 10, 12, 34, 0.58], [0.35, 62, 22, 92, 0.48], [0.65, 208, 72, 62, 0.36], [1, 255, 214, 110, 0.34]];
const EDGE = "rgb(255 255 255 / 0.4)";
const UNSEEN = "rgb(10 12 20 / 0.7)";

// A cubic through the values (Catmull-Rom), whose cells lie side by side as the picture's parts do.
function stretch(values, length) {
  const at = index => values[Math.min(Math.max(index, 0), values.length - 1)];
  return Array.from({ length }, (_, place) => {
    const x = (place + 0.5) * values.length / length - 0.5, i = Math.floor(x), t = x - i;
    const [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  });
}

function colorOf(value) {
  const upper = Math.max(1, RAMP.findIndex(([share]) => share >= value));
  const [low, high] = [RAMP[upper - 1], RAMP[upper]], share = (value - low[0]) / (high[0] - low[0]);
  return low.slice(1).map((part, at) => part + share * (high[at + 1] - part));
}

// The crop is given in shares of the upright picture, which is how the browser draws it, too.
export function drawHeat(canvas, photo, { grid, crop }) {
  const scale = Math.min(1, LONGEST_PX / Math.max(photo.width, photo.height));
  canvas.width = Math.max(1, Math.round(scale * photo.width));
  canvas.height = Math.max(1, Math.round(scale * photo.height));
  const context = canvas.getContext("2d");
  const across = share => Math.round(share * canvas.width), down = share => Math.round(share * canvas.height);
  const [left, top] = [across(crop.left), down(crop.top)];
  const columns = Math.max(1, across(crop.left + crop.width) - left);
  const rows = Math.max(1, down(crop.top + crop.height) - top);
  context.fillStyle = UNSEEN;
  context.fillRect(0, 0, canvas.width, canvas.height);
  const wide = grid.map(row => stretch(row, columns)), pixels = context.createImageData(columns, rows);
  for (let x = 0; x < columns; x++) {
    stretch(wide.map(row => row[x]), rows).forEach((value, y) => {
      const [red, green, blue, opacity] = colorOf(Math.min(Math.max(value, 0), 1));
      pixels.data.set([red, green, blue, 255 * opacity], 4 * (y * columns + x));
    });
  }
  context.putImageData(pixels, left, top);
  context.strokeStyle = EDGE;
  if (columns < canvas.width || rows < canvas.height) context.strokeRect(left + 0.5, top + 0.5, columns - 1, rows - 1);
}

// For whoever does not see it.
export function nameBrightest(grid) {
  const values = grid.flat(), at = values.indexOf(Math.max(...values)), columns = grid[0].length;
  const third = (index, length, words) => words[Math.min(2, Math.floor((index + 0.5) * 3 / length))];
  const down = third(Math.floor(at / columns), grid.length, ["top", "", "bottom"]);
  return [down, third(at % columns, columns, ["left", "", "right"])].filter(Boolean).join(" ") || "middle";
}

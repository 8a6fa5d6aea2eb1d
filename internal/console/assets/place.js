// goTo shows what a hash stands for; also again, if it is shown already.
export function goTo(hash) {
  if (hash === location.hash) {
    dispatchEvent(new Event("hashchange"));
  }
  location.hash = hash;
}

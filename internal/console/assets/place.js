// goTo shows the view of a hash. It reloads the current view.
export function goTo(hash) {
  if (hash === location.hash) {
    dispatchEvent(new Event("hashchange"));
  }
  location.hash = hash;
}

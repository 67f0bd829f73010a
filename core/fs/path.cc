// The walk itself. Symbolic links are followed by putting their target in front of what is left
// of the path, so nothing recurses; 40 of them in one walk are a loop, as on Linux.
#include "core/fs/path.hh"
#include <fcntl.h>

namespace oblako::fs {

namespace {

constexpr unsigned link_limit = 40;

// The path still to be walked; owns the spliced text once a link was followed.
class rest : noncopyable {
public:
  explicit rest(text path) : left_(path) {}
  ~rest() { mem::release(buffer_); }

  bool empty() const { return left_.size == 0; }
  bool absolute() const { return left_.size && left_.data[0] == '/'; }
  // Drops slashes; true if there were any.
  bool skip_slashes() {
    const size_t before = left_.size;
    while (left_.size && left_.data[0] == '/')
      left_ = left_.from(1);
    return left_.size != before;
  }
  // Takes one of the dropped slashes back.
  void put_slash_back() { left_ = {left_.data - 1, left_.size + 1}; }
  text take_component() {
    size_t n = 0;
    while (n < left_.size && left_.data[n] != '/')
      ++n;
    const text component{left_.data, n};
    left_ = left_.from(n);
    return component;
  }
  // Puts the link's target in front.
  result<void> splice(node& link) {
    auto* joined = static_cast<char*>(mem::allocate(path_limit));
    if (!joined)
      return error::nomem;
    auto length = link.read_link(joined, path_limit);
    if (!length.ok() || *length + left_.size >= path_limit || *length == 0) {
      mem::release(joined);
      return !length.ok() ? length.code() : *length ? error::nametoolong : error::noent;
    }
    __builtin_memcpy(joined + *length, left_.data, left_.size);
    left_ = {joined, *length + left_.size};
    mem::release(buffer_);
    buffer_ = joined;
    return {};
  }

private:
  text left_;
  char* buffer_ = nullptr;
};

void remember(place& out, node& directory, text name) {
  out.directory = mem::ref<node>::share(&directory);
  out.last = last_component::name;
  out.name_size = static_cast<uint8_t>(name.size);
  __builtin_memcpy(out.name_data, name.data, name.size);
}

// The directory above, or the same if there is none. Errors: noent (a removed directory).
result<mem::ref<node>> above(mem::ref<node> here) {
  if (auto up = here->parent())
    return up;
  if (here.get() != &root())
    return error::noent;
  return here;
}

bool follows(last_link follow, bool last, bool slash) {
  return !last || follow == last_link::follow || (slash && follow == last_link::keep);
}

} // namespace

result<text> path_string::load(const char* app_path) {
  auto n = mem::string_from_app(inline_, sizeof inline_, app_path);
  if (n.ok())
    return text{inline_, *n};
  if (n.code() != error::nametoolong)
    return n.code();
  heap_ = static_cast<char*>(mem::allocate(path_limit));
  if (!heap_)
    return error::nomem;
  return text{heap_, TRY(mem::string_from_app(heap_, path_limit, app_path))};
}

result<void> walk(node& start, text path, last_link follow, place& out, slash_behind_name slash) {
  if (path.size == 0)
    return error::noent;
  rest left(path);
  unsigned links = 0;
  auto here = mem::ref<node>::share(left.absolute() ? &root() : &start);
  out.directory = {};
  out.last = last_component::root;
  for (;;) {
    left.skip_slashes();
    if (left.empty()) { // the path ended in something that is no name
      out.target = std::move(here);
      return {};
    }
    const text name = left.take_component();
    const bool slash_follows = left.skip_slashes();
    const bool last = left.empty();
    out.wants_directory = last && slash_follows;
    if (!here->is_directory())
      return error::notdir;
    if (name == "." || name == "..") {
      out.last = name.size == 1 ? last_component::dot : last_component::dot_dot;
      if (name.size == 2)
        here = TRY(above(std::move(here)));
      continue;
    }
    if (name.size > name_limit)
      return error::nametoolong;
    if (out.wants_directory && slash == slash_behind_name::is_directory)
      return error::isdir;
    auto found = here->lookup(name);
    if (!found.ok()) {
      if (found.code() != error::noent || !last)
        return found.code();
      remember(out, *here, name);
      out.target = {};
      return {};
    }
    auto child = found.take();
    if (child->is_symlink() && follows(follow, last, slash_follows)) {
      if (++links > link_limit)
        return error::loop;
      if (auto jump = child->magic_target()) {
        child = std::move(jump);
      } else {
        if (slash_follows)
          left.put_slash_back();
        TRY(left.splice(*child));
        if (left.absolute()) {
          here = mem::ref<node>::share(&root());
          out.last = last_component::root;
        }
        continue;
      }
    }
    if (last) {
      remember(out, *here, name);
      out.target = std::move(child);
      return {};
    }
    here = std::move(child);
  }
}

result<mem::ref<node>> start_directory(int fd, text path) {
  if (path.size && path.data[0] == '/')
    return mem::ref<node>::share(&root());
  if (fd == AT_FDCWD)
    return mem::ref<node>::share(&working_directory());
  auto f = TRY(posix::get_file(fd));
  node* n = f->node();
  if (!n || !n->is_directory())
    return error::notdir;
  return mem::ref<node>::share(n);
}

result<mem::ref<node>> find(int fd, text path, last_link follow) {
  auto start = TRY(start_directory(fd, path));
  place p;
  TRY(walk(*start, path, follow, p));
  if (!p.target)
    return error::noent;
  if (p.wants_directory && !p.target->is_directory())
    return error::notdir;
  return std::move(p.target);
}

result<size_t> path_of(node& directory, char* to, size_t size) {
  if (size < 2)
    return error::range;
  // Built from the end of the buffer towards its beginning.
  size_t begin = size - 1;
  to[begin] = 0;
  auto here = mem::ref<node>::share(&directory);
  while (here.get() != &root()) {
    auto up = here->parent();
    if (!up)
      return error::noent;
    const text name = here->own_name();
    if (name.size + 1 > begin)
      return error::range;
    begin -= name.size;
    __builtin_memcpy(to + begin, name.data, name.size);
    to[--begin] = '/';
    here = std::move(up);
  }
  if (begin == size - 1)
    to[--begin] = '/';
  __builtin_memmove(to, to + begin, size - begin);
  return size - begin;
}

} // namespace oblako::fs

"""What every page of the shop shows. Middleware runs outside the request's transaction."""
from .models import Banner


def banner(get_response):
    """Puts the newest active banner into a header."""
    def answer(request):
        newest = Banner.objects.filter(active=True).order_by("-id").first()
        response = get_response(request)
        response["X-Banner"] = newest.text if newest else ""
        return response
    return answer
